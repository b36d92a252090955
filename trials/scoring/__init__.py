"""How good a restored picture is: metrics, named protocols, and the baseline that amplifies alone."""
