"""`mint-ray answer`, as a script for `ray job submit`."""

from mint_ray.answer.command import main

if __name__ == "__main__":
    main()
