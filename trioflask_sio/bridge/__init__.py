"""The thread border and everything Flask: the worker pool, Flask contexts, views, and the public API.

The way of one event: the hub puts a job into its client's lane, ``pool`` gives the lane to a thread or a task,
``dispatch`` opens the Flask context and calls the handler, ``operations`` brings what it emits across ``portal`` to the
loop, and the hub puts it into outboxes.
"""
