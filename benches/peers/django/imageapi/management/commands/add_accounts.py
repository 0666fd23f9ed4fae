from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from imageapi.models import Account, Tier


class Command(BaseCommand):
    help = "Adds accounts."

    def add_arguments(self, parser):
        parser.add_argument("accounts", nargs="+", help="name:password:tier")

    def handle(self, accounts, **options):
        for account in accounts:
            name, password, tier = account.split(":")
            user = User.objects.create_user(name, password=password)
            Account.objects.create(user=user, tier=Tier.objects.get(name=tier))
