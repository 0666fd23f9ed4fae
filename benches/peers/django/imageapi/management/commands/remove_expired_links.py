from django.core.management.base import BaseCommand
from django.utils import timezone

from imageapi.models import ExpiringLink


class Command(BaseCommand):
    help = "Removes links that have expired; cron runs it hourly."

    def handle(self, **options):
        ExpiringLink.objects.filter(expiration__lte=timezone.now()).delete()
