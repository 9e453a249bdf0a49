"""Small real apps to stop, kill and scale, each with switches that plant what a check must catch.

They are run as anybody runs such an app, know nothing of Jetable and import nothing of it.
"""
