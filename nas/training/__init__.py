"""The long training of one network, for `nas.retrain`."""
