mod scenarios;
mod seeds;
mod world;
