"""textok: language-guided image tokenization (TexTok), trained end to end."""

__version__ = "0.1.0"
