"""Documents as text: PDF, office documents, books, web pages, mails. What reads them runs confined, in `readers`."""
