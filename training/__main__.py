"""`python -m training VERB` is `kokyaku VERB`."""

from training.cli import main

if __name__ == "__main__":
    main()
