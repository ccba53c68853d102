"""What a job says about its pictures, its speech and the faces that it animated."""
