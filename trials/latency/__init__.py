"""How long a deployed network takes on this device, measured so that it can be published."""
