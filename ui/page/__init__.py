"""The review page: Gradio on top of the service, in English and Turkish, with nothing from elsewhere."""
