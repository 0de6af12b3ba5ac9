"""The engine of many machines, which Ray joins: it places workers and says when one is lost. What is asked and answered
goes over it as JSON of ours; its own retries are off, for what is lost goes on from its record."""
