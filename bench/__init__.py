"""What the project's training and evaluation gain over the plain form, measured side by side on one machine.

python -m bench --help
"""
