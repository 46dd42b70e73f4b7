"""A stand-in for Kyutai's host: a random checkpoint of the released size, with results of the official implementation.

It shows that `tympan verify` passes for a right model and fails for a wrong one, where the released weights cannot be
downloaded. The first command needs torch and the official implementation, in an environment as that of
tests/golden/make_golden.py, and `sphn`; it takes about 3 GB of disk and 12 GB of memory:

    PYTHONPATH=app:. golden/bin/python -m bench.stand_in.make FOLDER
    python -m bench.stand_in.verify FOLDER

The second one prints what `tympan verify` found, and one line of JSON, kept as bench/results/verify-stand-in.json.
"""
