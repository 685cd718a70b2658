"""`mint-ray adopt`, as a script for `ray job submit`."""

from mint_ray.command import main

if __name__ == "__main__":
    main("adopt")
