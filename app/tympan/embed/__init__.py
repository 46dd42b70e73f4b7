"""The library in a page of somebody else's: `from tympan import Transcriber`."""
