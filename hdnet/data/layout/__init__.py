"""Raw data folders: the Tang and TikTok layouts, their pictures, text files and metadata."""
