"""DVC stages: each file parses params.yaml, calls hdnet, writes outs, metrics and plots. No logic."""
