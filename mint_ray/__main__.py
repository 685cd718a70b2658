"""`python -m mint_ray`: the command line, see `mint_ray.command`."""

from mint_ray.command import main

if __name__ == "__main__":
    main()
