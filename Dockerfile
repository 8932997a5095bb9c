# For Astro. The image installs packages.txt and requirements.txt, then copies the project, before what follows.
FROM astrocrpublic.azurecr.io/runtime:3.3-4

# Puts plugins/ and include/ on the path and registers the connection types, without which Airflow stores "generic".
# Editable, so that what `astro dev start` mounts is what runs.
RUN python -m pip install --no-cache-dir --no-deps --editable .
