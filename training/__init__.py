"""How the built-in model was made: photos, captions and two teachers in, `data/models/starter` out.

One command a stage, each on from its checkpoint: `python -m training --help`, and docs/training.md. Nothing that runs
in production imports this package.
"""
