# A web server that knows of no registry: `perl perl_agent.pl PORT`.
use strict;
use warnings;
use IO::Socket::INET;

my $listening = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 5, ReuseAddr => 1,
) or die "cannot listen: $!";
while ( my $caller = $listening->accept ) {
    my $request = <$caller>;
    print $caller "HTTP/1.0 200 OK\r\n\r\nhello from perl\n" if defined $request;
    close $caller;
}
