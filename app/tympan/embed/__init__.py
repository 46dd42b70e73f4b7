"""The library in an author's page: `from tympan import Transcriber`."""
