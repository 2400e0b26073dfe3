"""The mining core: which pictures are most worth labelling, and why. Needs numpy alone; images carry it inside their ``app/``.

An image fills a ``Pool`` with what its model says of the candidates and calls ``select``; what comes back is a ranking with a score and the
reasons of each pick. Imports nothing but itself and numpy, so that it runs in any image and in tests.
"""
