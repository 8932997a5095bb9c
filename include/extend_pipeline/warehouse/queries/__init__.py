"""What the pipeline asks of a warehouse and writes into it beside parts, a module for each subject."""
