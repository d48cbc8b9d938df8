"""`python -m agent_registry_client.cli`, where no script is installed."""

from agent_registry_client.cli import main

if __name__ == "__main__":
    main()
