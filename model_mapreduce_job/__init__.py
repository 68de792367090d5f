"""The batch door: models of the hall behind a Hadoop streaming MapReduce job, through mrjob."""
