"""What a trial or an export leaves for people: drawings, notes, curves, cards, ONNX."""
