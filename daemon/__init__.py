"""The process: configuration, composition, scheduler, listener, signals, systemd."""
