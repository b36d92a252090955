"""What a trial or an export gives to people: drawings, notes, curves, model cards, ONNX."""
