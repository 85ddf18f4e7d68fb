"""Kernels in C for the CPU, where torch's own lose time between the matrix products."""
