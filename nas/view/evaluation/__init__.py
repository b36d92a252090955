"""What nas.evaluate does: the networks, the pictures, and the colour chart."""
