"""Pictures and cameras of callers: reading, cropping, intrinsics."""
