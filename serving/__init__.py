"""The HTTP service: ``POST /depth`` with the registered model. See :func:`serving.app.create_app`."""
