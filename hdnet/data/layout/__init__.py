"""The folders that users have: the Tang and TikTok layouts, their pictures, text files and metadata."""
