"""What reads documents: runs in a confined process, over hostile files, with the standard library and pypdf alone.

Each reader yields pieces: marks of pages, sheets and slides, texts, and notes for the user. It writes nothing.
"""
