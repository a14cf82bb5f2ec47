"""Labels by people: which documents are asked about, the file of answers, the terminal and the page that ask."""
