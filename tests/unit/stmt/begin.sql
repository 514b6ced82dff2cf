-- Start an explicit transaction.
BEGIN
