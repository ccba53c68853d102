"""Development clips, metrics, tables and contact sheets shared by the benchmarks."""
