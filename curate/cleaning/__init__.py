"""Repairs of a document's text: mojibake, white space, boilerplate lines, personal data, HTML to text, blocklists."""
