"""One person in a video: tracked, estimated in every frame, made stable over time, written as films and maps."""
