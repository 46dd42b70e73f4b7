"""The library in other pages: `from tympan import Transcriber`."""
