"""The web service: REST API, event stream and console page (design, sections 4 and 8). ``app.create_app`` makes it."""
