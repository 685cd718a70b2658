"""`python -m mint_ray.service deployments/scorer.yaml`: see `mint_ray.service.launch`."""

from mint_ray.service.launch import main

if __name__ == "__main__":
    main()
