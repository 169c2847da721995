//! The product as its users have it: the real binary, real files, a real library, processes that are really killed.

mod backups;
mod bad_input;
mod catalog;
mod erasure;
mod interrupted;
mod main_job;
mod own_data;
mod served;
mod support;
