"""The room of the web pages: ``create_app(runner)`` comes here. A Runner is handed in; nothing but ``contracts`` is imported."""
