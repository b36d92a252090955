"""What trials train on and are judged by: synthetic scenes, or a folder of real pairs."""
