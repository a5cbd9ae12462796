"""Clothes: patterns cut from the body model, draped by simulation."""
