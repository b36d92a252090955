"""The long training of one network, as `nas.retrain` does it."""
