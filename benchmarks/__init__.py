"""What Jetable costs and how exact it is, measured beside its peers; ``python -m benchmarks`` runs all."""
