"""Measurements that anybody can repeat; each is a module to run."""
